"""Reporters: they send reports of builds to mail, chat, code hosts and other services.

``base.py`` and ``delivery.py`` deliver the reports in order. ``generators/`` decide which builds are reported, and
when. ``message.py`` renders the text. There is a file for each service.
"""
