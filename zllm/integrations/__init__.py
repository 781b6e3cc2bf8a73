"""Other programs and libraries that zllm works with. Each is imported only when it is asked for."""
