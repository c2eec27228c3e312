"""The default templates of message formatters."""

SUBJECT = """\
{% if results == 0 %}☺{% elif results == 2 %}☠{% else %}☝{% endif %} Buildbot ({{ buildbot_title }}): \
{{ buildername if not is_buildset else projects }} - {{ build['state_string'] }} \
({{ build['properties'].get('branch', [None])[0] or '(unknown revision)' }})"""

PLAIN = """\
A {{ status_detected }} has been detected on builder {{ buildername }} while building {{ projects }}.

Full details are available at:
    {{ build_url }}

Build state: {{ build['state_string'] }}
Revision: {{ build['properties'].get('got_revision', ['(unknown)'])[0] }}
Worker: {{ workername }}
Build Reason: {{ build['properties'].get('reason', ["(unknown)"])[0] }}
Blamelist: {{ ", ".join(blamelist) }}

Steps:
{% for step in build['steps'] if not step['hidden'] %}
- {{ step['number'] }}: {{ step['name'] }} ( {{ result_names[step['results']] if step['results'] is not none \
else 'running' }} )
{%- if step['logs'] %}
    Logs:
    {%- for log in step['logs'] %}
        - {{ log.name }}: {{ log.url }}
    {%- endfor %}
{%- endif %}
{% endfor %}"""

HTML = """\
<p>A {{ status_detected | e }} has been detected on builder <a href="{{ build_url | e }}">{{ buildername | e }}</a>
while building {{ projects | e }}.</p>
<p>Information:</p>
<ul>
    <li>Build state: {{ build['state_string'] | e }}</li>
    <li>Revision: {{ build['properties'].get('got_revision', ['(unknown)'])[0] | e }}</li>
    <li>Worker: {{ workername | e }}</li>
    <li>Build Reason: {{ build['properties'].get('reason', ["(unknown)"])[0] | e }}</li>
    <li>Blamelist: {{ ", ".join(blamelist) | e }}</li>
</ul>
<p>Steps:</p>
<ul>
{% for step in build['steps'] if not step['hidden'] %}
    <li{% if step['results'] == 2 %} style="color: #f00; font-weight: bold;"{% endif %}>
    {{ step['number'] }}: {{ step['name'] | e }} ( {{ result_names[step['results']] if step['results'] is not none \
else 'running' }} )
    {%- if step['logs'] %}
    ({% for log in step['logs'] %}<a href="{{ log.url | e }}">&lt;{{ log.name | e }}&gt;</a>{% endfor %})
    {%- endif %}</li>
{% endfor %}
</ul>
"""

SET_SUBJECT = """\
{% if results == 0 %}☺{% elif results == 2 %}☠{% else %}☝{% endif %} Buildbot ({{ buildbot_title }}): \
{{ projects }} - {{ result_names[results] }}"""

SET_PLAIN = """\
A {{ status_detected }} has been detected while building {{ projects }}.
{% for build in builds %}
- {{ build['builder']['name'] }}: {{ build['state_string'] }}
    {{ build['url'] }}
{%- endfor %}

Blamelist: {{ ", ".join(blamelist) }}
{{ sourcestamps }}"""

SET_HTML = """\
<p>A {{ status_detected | e }} has been detected while building {{ projects | e }}.</p>
<ul>
{% for build in builds %}
    <li><a href="{{ build['url'] | e }}">{{ build['builder']['name'] | e }}</a>: {{ build['state_string'] | e }}</li>
{% endfor %}
</ul>
<p>Blamelist: {{ ", ".join(blamelist) | e }}</p>
<pre>{{ sourcestamps | e }}</pre>
"""

#: bodies by the described object and the type
BODIES = {
    ("build", "plain"): PLAIN,
    ("build", "html"): HTML,
    ("buildset", "plain"): SET_PLAIN,
    ("buildset", "html"): SET_HTML,
}
#: subjects by the described object
SUBJECTS = {"build": SUBJECT, "buildset": SET_SUBJECT}

WORKER_BODIES = {
    ("worker", "plain"): """\
The Buildbot worker named {{ worker.name }} went away.

It last disconnected at {{ worker.last_connection }}.
""",
    ("worker", "html"): """\
<p>The Buildbot worker named {{ worker.name | e }} went away.</p>
<p>It last disconnected at {{ worker.last_connection | e }}.</p>
""",
}
WORKER_SUBJECTS = {"worker": "Buildbot {{ buildbot_title }} worker {{ worker.name }} missing"}
