"""Problems and scores: benchmarks, procedural problems, sampling runs, pass@k. Never imports torch."""
