"""`python -m data_gen.bench`: the command."""

from data_gen.bench.run import main

if __name__ == "__main__":
    main()
