"""The dashboard: pages that a person reads, made on the server from the documents that commands print.

A page needs no script: `static/relayd.js` only refreshes it. Its Content-Security-Policy has no exception.
"""
