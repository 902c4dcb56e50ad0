"""Facts → documents: generated, shipped, or the chats of a control. `python -m data_gen`."""
