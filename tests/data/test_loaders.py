"""Pictures that come from worker processes."""

import tempfile

from catdog_cli.data.loaders import Images, load_batches
from catdog_cli.data.scan import scan_dataset
from catdog_cli.settings import InputSpec


def test_workers_hand_over_pictures_where_the_temporary_folder_has_a_long_name(few, tmp_path, monkeypatch):
    """The path of a socket has at most 107 bytes; a loader whose worker cannot open one waits for ever."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    images = Images(scan_dataset(few), "train", InputSpec(size=32))
    (batch,) = load_batches(images, [[(0, 0), (1, 0)]], workers=1)
    assert batch.indices.tolist() == [0, 1]
    assert batch.images.shape == (2, 3, 32, 32)
    assert tempfile.gettempdir() == str(folder)
