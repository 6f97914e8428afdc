"""The sandbox describes itself: an OpenAPI 3.1 document, and a page to read it.

`schemas` declares the shapes, `service` and `control` describe the endpoints, `document` puts them
together, `page` makes the page of it, `serving` serves both.
"""
