"""Documents → adapter: LoRA fine-tuning on documents or on chats. `python -m train`."""
