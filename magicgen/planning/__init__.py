"""From a tale's words to a :class:`magicgen.control.story.StoryPage`: who is seen where in which panel.

:class:`~magicgen.planning.protocol.Planner` is the one protocol;
:class:`~magicgen.planning.offline.OfflinePlanner` needs nothing but this package,
:class:`~magicgen.planning.chat.ChatPlanner` asks a language model.
"""
