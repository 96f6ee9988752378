"""The demo model's training, one module a part: tokenizer, CLIP, autoencoder, denoiser, export."""
