"""The embedded default: drawn scenes with masks, and a small network trained on them."""

from pfv_widgets.demo.gallery import demo_images, demo_masks, demo_model
from pfv_widgets.demo.network import DemoNet
from pfv_widgets.demo.scenes import Scene, draw_scene
from pfv_widgets.demo.things import CLASSES

__all__ = [
    "CLASSES",
    "DemoNet",
    "Scene",
    "demo_images",
    "demo_masks",
    "demo_model",
    "draw_scene",
]
