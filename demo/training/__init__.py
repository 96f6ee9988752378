"""Train the demo model, one module per part: tokenizer, CLIP, autoencoder, denoiser, export."""
