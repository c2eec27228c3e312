"""The build steps that come with the master."""
