"""Writes the .pt files of this folder with PyTorch (2.11) and NumPy: python3 make_pt_fixtures.py"""
from collections import OrderedDict

import numpy as np
import torch

images = torch.arange(2 * 1 * 3 * 3, dtype=torch.float32).reshape(2, 1, 3, 3) / 4
labels = torch.tensor([0, 1])

torch.save(images, "tensor.pt")
torch.save({"images": images, "labels": labels}, "dict.pt")
# The layout of DC's and DM's result files: one [images, labels] pair per repetition.
torch.save({"data": [[images, labels], [images + 1, labels]],
            "accs_all_exps": {"ConvNet": [0.1, 0.2], "MLP": [np.float64(0.3), np.float32(0.5)]}}, "dc.pt")
net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
with torch.no_grad():
    for i, p in enumerate(net.parameters()):
        p.copy_(torch.arange(p.numel()).reshape(p.shape) + 100 * i)
torch.save(net.state_dict(), "ordered.pt")
torch.save({"a": OrderedDict([("w", torch.nn.Parameter(images[0, 0]))])}, "parameter.pt", pickle_protocol=4)

base = torch.arange(24, dtype=torch.float64).reshape(4, 6)
torch.save({"transposed": base.t(), "slice": base[1:3, ::2], "expanded": base[0, :1].expand(5),
            "scalar": base[3, 5], "empty": base[:0], "none": None, 7: base[:, 0],
            "tuple": (base[0], True, -3, 1 << 40, "text")}, "views.pt")
torch.save({str(t).split(".")[1]: (torch.arange(5) - (0 if t in (torch.uint8, torch.bool) else 2)).to(t)
            for t in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
                      torch.bfloat16, torch.float32, torch.float64, torch.bool)}, "types.pt")
torch.save(images, "legacy.pt", _use_new_zipfile_serialization=False)
torch.save({"array": np.arange(3)}, "numpy.pt")
torch.save({"number": 1}, "no_tensor.pt")


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


torch.save({"images": images, "x": Evil()}, "evil.pt")
torch.jit.script(torch.nn.Linear(1, 1)).save("script.pt")
