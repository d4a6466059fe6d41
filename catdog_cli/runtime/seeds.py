"""Random numbers from (seed, phase, epoch, sample), never from a state that a resume could lose."""

import hashlib

import torch


def seed_of(*parts: int | str) -> int:
    """Return a number below 2**63 that depends on all parts and nothing else."""
    text = "\0".join(map(str, parts)).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator_of(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded by `parts`."""
    return torch.Generator().manual_seed(seed_of(*parts))


def seed_torch(*parts: int | str) -> None:
    """Seed torch's global generators by `parts`.

    Not `torch.manual_seed`: where CUDA is there but unused it keeps a stack trace of every call.
    """
    seed = seed_of(*parts)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
