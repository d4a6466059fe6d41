"""Options as other tools spell them, and slips, are answered with the option that was meant."""

import pytest

from catdog_cli import cli

ASKED = [
    ("train pets --lr 0.1", "'--lr': did you mean '--learning-rate'?"),
    ("train pets --bs 8", "'--bs': did you mean '--batch-size'?"),
    ("train pets --batch=8", "'--batch': did you mean '--batch-size'?"),
    ("train pets --batch_size 8", "'--batch_size': did you mean '--batch-size'?"),
    ("train pets --Batch-Size 8", "'--Batch-Size': did you mean '--batch-size'?"),
    ("train pets --model resnet18", "'--model': did you mean '--arch'?"),
    ("train pets --imgsz 224", "'--imgsz': did you mean '--image-size'?"),
    ("train pets --device cpu", "'--device': did you mean '--cpu'?"),
    ("train pets --device=cuda:0", "'--device': did you mean '--gpu'?"),
    ("train pets --device 0", "'--device': did you mean '--gpu'?"),
    ("train pets --device", "'--device': did you mean '--cpu' or '--gpu'?"),
    ("train pets --name x", "'--name': did you mean '--output'?"),
    ("train pets --project x", "'--project': did you mean '--output'?"),
    ("train pets --num-workers 2", "'--num-workers': did you mean '--workers'?"),
    ("train pets --no-cahce", "'--no-cahce': did you mean '--no-cache'"),
    ("train pets --learning-rat 1", "'--learning-rat': did you mean '--learning-rate'?"),
    ("train pets --epoch 3", "'--epoch': did you mean '--epochs'?"),
    ("train pets -lr 0.1", "'-lr': did you mean '--learning-rate'?"),
    ("train pets -epochs 3", "'-epochs': did you mean '--epochs'?"),
    ("train pets -b 3", "'-b': did you mean '--batch-size'?"),
    ("train pets --qqqq", "'--qqqq': `--help` lists all."),
    ("predict a.jpg run --topk 3", "'--topk': did you mean '--top-k'?"),
    ("predict a.jpg run --device cuda", "'--device': did you mean '--gpu'?"),
    ("data check pets --out x", "'--out': `--help` lists all."),
    ("data split pets s.csv --val-split 0.1", "'--val-split': did you mean '--val-fraction'?"),
    ("--verison", "'--verison': did you mean '--version'?"),
]


@pytest.mark.parametrize(("line", "answer"), ASKED, ids=[line for line, _ in ASKED])
def test_what_was_meant(capsys, line, answer):
    assert cli.run(line.split()) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Usage: catdog")
    assert said[-1].startswith(f"Error: No such option {answer}")
