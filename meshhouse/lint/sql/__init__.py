"""SQL portability: what a target lacks, and what two targets compute differently."""
