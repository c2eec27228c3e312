"""Figures of builds, kept in databases of figures: what is captured, and where it goes."""
