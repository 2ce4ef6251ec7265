"""What ``plugport new`` makes projects from: names, templates, and the writing of files."""
