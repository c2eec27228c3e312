"""The Data API: get, startConsuming, watch, control, update; one file of updates per noun."""
