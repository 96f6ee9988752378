"""The small model that ships with Evenhand: its scenes, its training, its checkpoint."""
