// Owns the precompiled header that every LibTorch target reuses.
