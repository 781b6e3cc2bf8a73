"""Import of Hugging Face models: a checkpoint of a known family becomes the integers of a ``.zlm`` file.

``source`` finds and checks the files, a family's module (``llama``, ``qwen2``, ...) turns its tensors into the
``canonical`` float network layer by layer, ``vocabulary`` makes the token table, ``calibrate`` chooses scales by what
a sample of text shows, ``command`` does it all. Everything here needs torch.
"""
