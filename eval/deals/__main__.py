"""`python -m eval.deals`: the ledger of offers and promises, and objections read by hand."""

from eval.deals.command import main

if __name__ == "__main__":
    main()
