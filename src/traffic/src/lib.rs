//! Seeded generator of what games in the field send: the three dialects of the wire contract and their quirks.
