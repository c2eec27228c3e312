"""Changes that other systems report over HTTP: ``/change_hook/<dialect>``."""
