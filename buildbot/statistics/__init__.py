"""Statistics of builds: captures take figures from builds, and storage backends write them to databases."""
