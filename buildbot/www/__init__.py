"""HTTP: REST, JSON-RPC, WebSocket, server-sent events and the page; one file each.

``site.WwwServer`` is the service that the master starts. It listens and hands every request, as a frozen
``http.messages.Request``, to ``app.App``, which answers with a ``http.messages.Response``. Only ``http/parser.py`` and
``ws.py`` know that httptools and wsproto read the bytes.
"""
