"""Projects made by ``plugport new``: their names, their templates, and writing their files."""
