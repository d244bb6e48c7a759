"""The pages that people read: templates, styles and one module for each kind of page.

Belongs here: how documents become HTML. Not here: the documents (documents.py), the search index
(search.py), drawings of lineage, who writes files (site.py).

A page of another module looks like the rest of the site in three steps:

1. Write `templates/<name>.html`:

       {% extends "base.html" %}
       {% import "macros.html" as m with context %}
       {% block title %}Operations{% endblock %}
       {% block content %}
       <h1>Operations</h1>
       <section aria-labelledby="late">
         <h2 id="late">Late products</h2>
         {% call m.table("Late products", ["Product", "Since", "Freshness"]) %}
         {% for each in products %}
         <tr><th scope="row">{{ m.product_link(each.relation) }}</th>
           <td>{{ m.when(each.refreshed_at) }}</td><td>{{ m.state(each) }}</td></tr>
         {% endfor %}
         {% endcall %}
       </section>
       {% endblock %}

2. Write a maker that yields `Page(path, inputs, partial(html, "<name>.html", path, ...))`, with
   `html` from `render.py`. The rest of its arguments are what the template may use.
3. Add the maker to `MAKERS` in site.py.

`templates/macros.html` has: `state` (a badge that turns late by the reader's clock), `when` (a time
with its age), `table`, `copy` (text with a button), `sparkline`, `strip` (30 days of a promise),
`owner`, `product_link`, `domain_link`, `topic_link`, `facts` (names and values), `text` (paragraphs
of a description). Filters, in words.py: `count`, `size`, `share`, `score`, `number`, `seconds`,
`plural`, `short` (one line, cut), `ticked` (a sentence whose `names` become code). `href(target)`
is the link to a path of `paths.py` from the page. `assets/mesh.css` has the classes.

Every text is escaped, and marks that reorder or hide text are replaced, so give plain text and no
HTML. A drawing is `markupsafe.Markup`, whose maker escapes what it draws. The policy of the site
forbids scripts and styles inside a page, so drawings have attributes and classes only.
"""
