"""Every figure, from tables: one look, one file a kind of figure. They need matplotlib."""
