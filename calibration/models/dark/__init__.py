"""Dark current against temperature and exposure, on planes: the relations, the fit, the choice between them."""
