"""The evaluations as Inspect tasks: `inspect eval eval/tasks/compliance.py --model …` works on them too."""
