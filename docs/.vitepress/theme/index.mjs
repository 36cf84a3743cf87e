// The generator's own theme, with tables that fit: the references are mostly tables.
import theme from 'vitepress/theme';
import './tables.css';

export default theme;
