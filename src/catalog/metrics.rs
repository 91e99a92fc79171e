//! How catalogs stand, as metrics.
//!
//! Never: a label that a client chose.
