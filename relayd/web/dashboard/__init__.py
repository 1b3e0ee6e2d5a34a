"""The dashboard: pages that a person reads, made on the server from the documents that commands print.

A page needs no script: `static/relayd.js` only refreshes it, `static/form.js` searches in a form. What changes something is
asked first, and done by the daemon's commands. Its Content-Security-Policy has no exception.
"""
