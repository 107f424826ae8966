//! Helm: charts found and rendered by helm, releases recorded as helm records them. Applying is not done here.
