"""The kinds of measurement: each says what is asked, and how the replies become rows and estimates."""
