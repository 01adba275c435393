"""Bort Explorer: `streamlit run app.py`. The frame around the pages; the work is theirs."""

import streamlit as st

if __name__ == "app":  # as the server imports it; a visit runs this file as a script
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import RedirectResponse
    from starlette.routing import Route

    from pages.parts.guard import Guard
    from pages.parts.warm import lifespan

    # By a file's name Streamlit would show a page of pages/ without this frame: by its address.
    ADDRESSES = {"explore": "", "finetune": "fine-tune", "compare": "baselines", "learn": "lessons"}

    def lead(request: Request) -> RedirectResponse:
        address = ADDRESSES[request.url.path.strip("/")]
        return RedirectResponse(request.url.replace(path=f"/{address}"))

    app = st.App(
        "app.py",
        lifespan=lifespan,
        routes=[Route(f"/{name}", lead) for name in ADDRESSES],
        middleware=[Middleware(Guard)],
    )
else:
    LOGO = "assets/logo.svg"

    st.set_page_config(page_title="Bort Explorer", page_icon=LOGO, layout="wide")
    page = st.navigation(
        [
            st.Page(
                "pages/explore.py",
                title="Explore",
                icon=":material/explore:",
                default=True,
                help="Pick a source model and an epsilon; see the Pareto front; choose a point.",
            ),
            st.Page(
                "pages/finetune.py",
                title="Fine-tune",
                icon=":material/school:",
                url_path="fine-tune",
                help="Train the chosen architecture with Agora; watch it; download the checkpoint.",
            ),
            st.Page(
                "pages/compare.py",
                title="Baselines",
                icon=":material/flag:",
                url_path="baselines",
                help="The FPTAS against other searches at equal budgets, training by training.",
            ),
            st.Page(
                "pages/learn.py",
                title="Lessons",
                icon=":material/menu_book:",
                url_path="lessons",
                help="Each idea of the papers, with one thing to move.",
            ),
        ],
        position="hidden" if st.context.is_embedded else "top",
    )
    if not st.context.is_embedded:  # with embed=true in the address another page shows this one
        st.logo(LOGO, size="large")
        st.title("Bort Explorer", anchor=False)
    if page.url_path:
        st.session_state["left"] = True  # Explore, which then opens as it was
    page.run()
