"""The step between replies and estimates: a panel of judges, their verdicts as columns, rates raw and corrected."""
