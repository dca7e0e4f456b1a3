"""What the nox sessions and the workspace's own tests share. It is no part of any package."""
