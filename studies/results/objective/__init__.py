"""Report what metrics say of a study's arms, beside what people say (the paper's Tables 1 and 2)."""
