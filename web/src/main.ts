import './styles/tokens.css';
import './styles/base.css';
import './styles/parts.css';
import './styles/signs.css';
import { mount } from 'svelte';
import App from './App.svelte';

const target = document.getElementById('app');
if (target) mount(App, { target });
