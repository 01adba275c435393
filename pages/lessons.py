"""Not a page: leads the address /lessons to app.py, where a fresh server would not go by itself.

Until app.py has called st.navigation once, Streamlit takes each file in pages/ for the page of its
name, and says "Page not found" of an address that is no file's.
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parent.parent / "app.py"))
