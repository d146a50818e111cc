"""Run what ``missu export missu-brats-fast --format onnx fast.onnx`` wrote, without MISSU.

    python run_onnx.py fast.onnx.json scans.npy labels.npy

``scans.npy`` holds the scans of a case (modalities, depth, height, width) in the order of the JSON
file: skull-stripped (0 outside the brain), on each other, along the axes LPS at the network's
spacing; a missing one is 0. Nothing is cleaned up. Needs numpy and onnxruntime.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

record, scans = Path(sys.argv[1]), np.load(sys.argv[2]).astype(np.float32)
facts = json.loads(record.read_text(encoding="utf-8"))
network, after = facts["networks"]["whole"], facts["postprocessing"]
step = network["input"]["side_multiple_of"]

inside = np.argwhere(scans.any(axis=0))
first, stop = inside.min(axis=0), inside.max(axis=0) + 1
box = (slice(None), *map(slice, first, stop))
sides = np.maximum(-(-(stop - first) // step) * step, network["input"]["least_side"])
volume = np.zeros((len(scans), *sides), np.float32)
for scan, channel in zip(scans[box], volume):
    brain = scan != 0
    if brain.any():
        clip = facts["preprocessing"]["steps"][0]["clip_percentiles_of_brain"]
        values = scan[brain].clip(*np.percentile(scan[brain], clip))
        part = channel[tuple(map(slice, scan.shape))]
        part[brain] = (values - values.mean(dtype=float)) / values.std(dtype=float)

session = onnxruntime.InferenceSession(record.with_name(network["file"]))
odds = session.run(["log_odds"], {"volume": volume[None]})[0][0]
odds = odds[(slice(None), *map(slice, stop - first))]
probable = 1 / (1 + np.exp(-odds / np.reshape(after["temperatures"], (-1, 1, 1, 1))))
labels, own = np.zeros(scans.shape[1:], np.uint8), [set(r["labels"]) for r in after["regions"]]
for index, values in enumerate(own):  # outermost first: what lies in it writes over it
    outer = [probable[other] for other in range(index) if values < own[other]]
    inner = set().union(*(other for other in own[index + 1 :] if other < values))
    mask = np.min([probable[index], *outer], axis=0) >= after["threshold"]
    labels[box[1:]][mask] = next(iter(values - inner))
np.save(sys.argv[3], labels)
