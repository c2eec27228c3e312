"""Tests of figures of builds."""
