from django.contrib import admin

from monitoring.models import Probe

admin.site.register(Probe)
