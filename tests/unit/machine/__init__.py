"""Tests of the machines that workers run on."""
