select
{% for each in columns %}
    {{ each }}{{ "," if not loop.last }}
{% else %}
    *
{% endfor %}
from {% raw %}{{{% endraw %} ref({{ ref }}) {% raw %}}}{% endraw %}

