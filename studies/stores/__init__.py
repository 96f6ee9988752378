"""Hold files under names: in a folder of this machine, or in a bucket that several machines share."""
