"""The names of all scores. Raw scores are measured once and stored; derived ones follow from the decision about tracks.

Lengths are shares of the picture's diagonal, areas shares of the picture, so that thresholds fit every size.
"""

TRACK_SCORES: dict[str, str] = {
    "visible_share": "share of frames in which the object is seen",
    "longest_gap": "longest run of frames without it between its first and last frame, as a share of the clip",
    "area_mean": "mean visible area",
    "area_min": "smallest visible area",
    "area_max": "largest visible area",
    "box_side_min": "smaller side of its median box, as a share of the picture's side",
    "border_touch": "share of visible frames in which its box touches the border",
    "area_jump": "largest ratio of areas of neighbouring frames, a tenth of the usual one added (id switch, lost part)",
    "centre_jump": "largest move of its box centre between neighbouring frames beyond its own usual one",
    "path_length": "way of its box centre, in box diagonals",
    "jerk": "median change of its velocity between frames",
    "forward_backward": "share of its pixels whose forward and backward flow disagree",
    "residual": "median motion against the camera, per frame",
    "motion_ratio": "its residual motion over the background's",
    "confidence": "mean confidence of the annotator",
    "first_frame": "1 where it is seen in the first frame",
}

CLIP_SCORES: dict[str, str] = {
    "duration": "seconds",
    "camera_motion": "median motion of the camera, per frame",
    "background_residual": "median motion of the background that the camera model leaves, per frame",
    "camera_inliers": "share of flow vectors that one homography explains",
    "flow_consistency": "share of pixels whose forward and backward flow agree",
    "order": "difference of neighbouring frames over that of distant ones; near 1 for shuffled frames",
    "cut_inside": "largest change between neighbouring frames over a large usual one",
    "static_overlay": "share of pixels with edges that stay while the picture moves (logos, captions)",
    "sharpness": "median variance of the Laplacian",
    "aesthetic": "aesthetic head on CLIP; null without its weights",
    "text_area": "share of the picture covered by detected text; null without the detector's weights",
    "caption_match": "CLIP similarity of caption and middle frame; null without weights or caption",
}

DERIVED_SCORES: dict[str, str] = {
    "objects": "number of kept tracks",
    "objects_first_frame": "kept tracks seen in the first frame",
    "area_share": "area of all kept tracks in the first frame where any is seen",
    "motion": "largest residual motion among the kept tracks",
    "copy_distance": "Hamming distance of the perceptual hash to the nearest clip kept before it (of 64 bits)",
}

NEEDS_WEIGHTS = {
    "aesthetic": "model_scores.clip_model and model_scores.aesthetic_head",
    "text_area": "model_scores.text_detector",
    "caption_match": "model_scores.clip_model and a caption",
}
