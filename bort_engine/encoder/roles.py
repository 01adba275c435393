"""What the modules of an encoder's layers do, and by which units their weights are cut."""

from __future__ import annotations

import re

# What a module does, by its name in the three families: BERT and RoBERTa have encoder.layer.N.
# attention.self.query and so on, DistilBERT has transformer.layer.N.attention.q_lin. The first
# pattern that matches counts. Then: which units its weight (rows, columns) is cut by, on which
# axis. The other axis, and all of the embeddings, norms, pooler and head, are cut by hidden units.
ROLES = {
    "query": (r"\.(query|q_lin)$", "logits", 0),
    "key": (r"\.(key|k_lin)$", "logits", 0),
    "value": (r"\.(value|v_lin)$", "attention", 0),
    "attention_out": (r"\.(attention\.output\.dense|out_lin)$", "attention", 1),
    "ffn_in": (r"\.(intermediate\.dense|lin1)$", "neurons", 0),
    "ffn_out": (r"\.(output\.dense|lin2)$", "neurons", 1),
}
LAYER = re.compile(r"\.layer\.(\d+)\.")


def role_of(module_name: str) -> str:
    """Return what a module does, one of ROLES, or ""."""
    return next((role for role, (name, *_) in ROLES.items() if re.search(name, module_name)), "")


def layer_of(name: str) -> int:
    """Return the layer that a module's or a parameter's name says, 0 where it says none."""
    return int(match[1]) if (match := LAYER.search(f"{name}.")) else 0
